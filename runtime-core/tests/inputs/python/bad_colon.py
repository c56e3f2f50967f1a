import x

def train(x)
    return x
