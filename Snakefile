# The workflow lives in workflow/; this file lets `snakemake` find it from here.
include: "workflow/Snakefile"


# An included file does not say what is made by default.
workflow.default_target = "all"
