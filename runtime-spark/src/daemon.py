"""A master or a worker of Spark, for the run beside it."""

import sys

from runtimes import spark

spark.daemon(sys.argv[1], sys.argv[2:])
