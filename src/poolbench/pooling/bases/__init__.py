"""What every operator is built on: windows, heads, formulas of a window, and what each costs."""
