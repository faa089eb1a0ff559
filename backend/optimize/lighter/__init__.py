"""What makes a model lighter: each verb of `tools.py` is a module of this package, `verbs` names them all."""
