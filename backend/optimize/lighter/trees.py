def found(model):
    return None
