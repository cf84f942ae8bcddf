"""What a saved model is: objects as plain data, a file of named arrays, and a way of writing it that may be killed.

``configuration``
    Layers, losses, optimizers and schedules as JSON and back, from the names of classes and their arguments.
``file``
    The parts of a model by their names in a safetensors file; everything in it is checked before memory is taken.
``atomic``
    A file is replaced whole or not at all.
"""
