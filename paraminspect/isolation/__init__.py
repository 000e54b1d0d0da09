"""Run the code of others, and leave the module and the process as they were."""
