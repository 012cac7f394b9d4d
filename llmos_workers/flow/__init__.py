"""The way of a goal through the layers: dispatch, replay, think, learn. One module a step.

Between the doors (tasks) and the layers: a module here knows what each layer is asked, and
nothing of how it does it.
"""
