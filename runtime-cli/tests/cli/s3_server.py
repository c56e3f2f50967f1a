"""A server that speaks S3, for tests: it ends with its input. Each line of that is a JSON list, [METHOD, ARGUMENTS] of a
client, and is answered with a line. The first line out is how to reach it."""

import json
import logging
import os
import sys

# The first three requests make the user; from then on each must be signed by one.
os.environ["INITIAL_NO_AUTH_ACTION_COUNT"] = "3"
os.environ.update(AWS_ACCESS_KEY_ID="nobody", AWS_SECRET_ACCESS_KEY="nothing", AWS_DEFAULT_REGION="us-east-1")

import boto3
from moto.server import ThreadedMotoServer

logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
url = "http://%s:%d" % server.get_host_and_port()

iam = boto3.client("iam", endpoint_url=url)
iam.create_user(UserName="tester")
policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
iam.put_user_policy(UserName="tester", PolicyName="all", PolicyDocument=json.dumps(policy))
key = iam.create_access_key(UserName="tester")["AccessKey"]
s3 = boto3.client(
    "s3",
    endpoint_url=url,
    aws_access_key_id=key["AccessKeyId"],
    aws_secret_access_key=key["SecretAccessKey"],
)
s3.create_bucket(Bucket="data")
print(json.dumps([url, key["AccessKeyId"], key["SecretAccessKey"]]), flush=True)

for line in sys.stdin:
    method, arguments = json.loads(line)
    try:
        answer = getattr(s3, method)(Bucket="data", **arguments)
        if "Body" in answer:
            answer["Body"] = answer["Body"].read().decode("latin-1")
    except Exception as error:
        answer = {"Error": str(error)}
    print(json.dumps(answer, default=str), flush=True)
server.stop()
