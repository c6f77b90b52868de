"""A sweep: what is asked → plan → workers → speeds → report → conclusion. Knows nothing of Hydra.

`asked`, `plan` and `process` are light; the others load torch, once the process's allocator is set.
"""
