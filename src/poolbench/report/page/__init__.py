"""report.html: the whole report as one file that opens anywhere, with tables to sort, plots to touch, cells to open.

Nothing is fetched when it is opened: styles, scripts, plots' library and data are inside, and a content security policy
in the page forbids every request. Equal content gives equal bytes.
"""

from poolbench.report.page.build import html

__all__ = ["html"]
