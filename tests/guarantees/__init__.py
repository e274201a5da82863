"""The guarantees whose proof takes a run of its own, a module each: `g08.py` checks G8.

A module has `measure(figures, folder, *, long)`, which starts what it needs below `folder`, on private ports, stops it
again, and adds figures with their bars. `make test` runs the short forms (`test_gNN.py`), `make guarantee-G8` the long.
"""
