"""What a saved model is: objects as plain data, a file of named arrays, and a way of writing it that may be killed.

``configuration``
    Layers, losses, optimizers and schedules as JSON and back, from the names of classes and their arguments.
``container``
    A safetensors file with JSON in it; all is checked before memory is taken.
``model``
    The parts of a model by their names in such a file.
``resumption``
    Whether a fit can be taken up from a file.
``atomic``
    A file is replaced whole or not at all.
"""
