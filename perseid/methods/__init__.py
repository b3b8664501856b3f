"""One file a method; each ends with `METHOD`, what `perseid.search.method.method_named` hands out."""
