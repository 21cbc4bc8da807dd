import { request } from 'node:https';

const TIMEOUT_MS = 5000;
const MAX_BYTES = 1024 * 1024;

export interface HttpsAnswer {
  status: number;
  text: string;
}

/**
 * One request to a service that tells who somebody is. TLS is always checked; redirects are not followed; an answer
 * that is late or large is none.
 * @param ca PEM of the authorities to trust; undefined: the system's
 */
export function askHttps(
  url: URL,
  options: {
    method?: 'GET' | 'POST';
    headers?: Record<string, string>;
    body?: string;
    ca: string | undefined;
  },
): Promise<HttpsAnswer> {
  const { method = 'GET', headers = {}, body, ca } = options;
  return new Promise((resolve, reject) => {
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    const sent = request(
      url,
      {
        method,
        headers: { accept: 'application/json', ...headers },
        signal,
        ...(ca !== undefined && { ca }),
      },
      (response) => {
        const chunks: Buffer[] = [];
        let bytes = 0;
        response.on('data', (chunk: Buffer) => {
          bytes += chunk.length;
          if (bytes > MAX_BYTES) sent.destroy(new Error(`the answer is larger than ${MAX_BYTES} bytes`));
          else chunks.push(chunk);
        });
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString('utf8') }),
        );
        response.on('error', reject);
      },
    );
    sent.on('error', reject);
    sent.end(body);
  });
}
