"""The text of every file, out of views and figures, in systemctl's words. Pure: no file, no clock,
no task.
"""
