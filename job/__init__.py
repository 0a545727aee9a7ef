"""The jobs of the command line: train, evaluate, infer. They put the rooms together and contain no algorithm."""
