# The workflow lives in workflow/; this file lets `snakemake` find it from here.
include: "workflow/Snakefile"
