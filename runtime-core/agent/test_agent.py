"""All tests of the agent, with this interpreter (3.9 or later): `python3 test_agent.py [NAME ...]`."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "tests"))

import unittest  # noqa: E402

from test_contexts import *  # noqa: E402, F403
from test_endpoint import *  # noqa: E402, F403
from test_handlers import *  # noqa: E402, F403
from test_mlrun import *  # noqa: E402, F403
from test_pods import *  # noqa: E402, F403
from test_programs import *  # noqa: E402, F403
from test_ranks import *  # noqa: E402, F403
from test_spark import *  # noqa: E402, F403
from test_tables import *  # noqa: E402, F403
from test_templates import *  # noqa: E402, F403

if __name__ == "__main__":
    unittest.main()
