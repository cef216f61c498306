"""The paper's ablations: train the variants with several seeds, and say what differs.

Read `tables` (what is varied, and what the paper measured), `cells` (the runs), `spread` (when a
difference counts), then `report`. `minran.ablate` has the public names.
"""
