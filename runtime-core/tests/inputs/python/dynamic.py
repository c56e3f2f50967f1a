def make():
    exec("def made(): pass")
