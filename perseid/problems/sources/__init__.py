"""Where problems come from: a file (or a folder) a source, named as `source:` names it in the experiment file."""
