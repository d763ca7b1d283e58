"""Other servers for the same data, each as a good engineer would write it in an afternoon."""
