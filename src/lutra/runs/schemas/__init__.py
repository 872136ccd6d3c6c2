"""The schemas of what a run and an exploration write, one module per step.

They lie here and not beside their writers, because rooms that may not import a writer (PyTorch, another accelerator)
read the files. Writers pass through `runs.files.write_record`, readers through `read_record`; both check.
"""
