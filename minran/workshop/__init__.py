"""The workshop: what measures minran, teaches it and repeats the paper's tables.

`bench`, `course` and `ablate` may use everything; nothing of minran needs them. The names people
import are `minran.bench`, `minran.course` and `minran.ablate`, which are doors to here.
"""
