def ffn(model):
    return []


def heads(model):
    return []
