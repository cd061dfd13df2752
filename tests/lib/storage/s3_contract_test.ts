/** An S3 bucket keeps the contract of storages; checked on a real server, Ceph's gateway. */
import { contract } from "./_contract.ts";
import { openS3, s3Test } from "./_s3.ts";

contract("an S3 bucket", s3Test, openS3);
