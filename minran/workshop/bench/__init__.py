"""Measurements of minran, PyTorch and others, where they are installed: `minran bench`.

Read `command` (the options), `session` (what is measured), `compare` (one measurement), `rounds`
(how numbers are taken), `worker` (the process of a contender), `report`; what each contender does
is in `adapters`. `train_twin` trains the PyTorch twin by a recipe, to draw its curve next to ours.
"""
