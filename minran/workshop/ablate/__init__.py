"""The paper's ablations: train the variants with several seeds, and say what differs.

Read `tables` (what is varied, and what the paper measured), `runs` (of every cell, and what they
measured), `spread` (when a difference counts), then `report`. `minran.ablate` has the public names.
"""
