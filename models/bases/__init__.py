"""What a policy is made from: nothing, or a model that there is already; a file each."""
