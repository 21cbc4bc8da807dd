import { startFauxqs } from 'fauxqs';

/** An S3 server as a process of its own, so that it can be killed and paused. Says its port. */
const server = await startFauxqs({ port: 0, logger: false });
process.send?.(server.port);
