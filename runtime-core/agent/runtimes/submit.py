"""What `spark-submit` runs as the driver of an application in Python: this agent, with the arguments that follow. Whoever
started that finds its process id in the folder that RUNTIMES_SPARK names."""

import os
import sys

package = os.path.dirname(os.path.abspath(__file__))
while os.path.basename(package) != "runtimes":  # Spark has followed the links that a cluster's volumes are made of
    package = os.path.dirname(package)
sys.path[0] = os.path.dirname(package)

import runtimes  # noqa: E402

folder = os.environ.get("RUNTIMES_SPARK", "")
if os.path.isdir(folder):
    with open(os.path.join(folder, "driver.pid"), "w") as file:
        file.write(str(os.getpid()))
runtimes.main()
