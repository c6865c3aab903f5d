"""Error analysis: what was misread, in which classes, and what a decoder's language changes of it.

Everything follows from stored rows and their lines; no model is run again.
"""
