"""The report as text: terminal, Markdown, LaTeX, and the verdict in words."""
