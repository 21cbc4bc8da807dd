import { existsSync } from 'node:fs';
import { join } from 'node:path';
import helmet from '@fastify/helmet';
import fastifyStatic from '@fastify/static';
import type { FastifyInstance } from 'fastify';
import { WhochangedError } from '../core/errors.js';

/** The page's own addresses (web/src/router.svelte.ts): each is answered with the same document. */
const VIEWS = [
  '/',
  '/changes/:id',
  '/objects/:cluster/:group/:resource/:namespace/:name',
  '/actors/:username',
  '/incident',
  '/sources',
  '/alerts',
  '/approvals',
  '/drift',
  '/reports',
];

/**
 * Serves the page that `npm run build` made of web/. It holds no data and asks for no token: what it shows it asks of
 * /v1, as the command line does. Files with a hash in their name never change; the document that names them is asked
 * for anew each time.
 */
export async function registerPage(root: FastifyInstance, folder: string): Promise<void> {
  await root.register(async (scope) => {
    await scope.register(helmet, {
      contentSecurityPolicy: {
        useDefaults: false,
        directives: {
          'default-src': ["'none'"],
          'script-src': ["'self'"],
          'style-src': ["'self'"],
          'img-src': ["'self'"],
          'connect-src': ["'self'"],
          'base-uri': ["'none'"],
          'form-action': ["'none'"],
          'frame-ancestors': ["'none'"],
        },
      },
      referrerPolicy: { policy: 'no-referrer' },
    });
    if (existsSync(join(folder, 'assets'))) {
      await scope.register(fastifyStatic, {
        root: join(folder, 'assets'),
        prefix: '/assets/',
        index: false,
        immutable: true,
        maxAge: '365d',
      });
    }
    for (const view of VIEWS) {
      scope.get(view, async (_request, reply) => {
        if (!existsSync(join(folder, 'index.html')))
          throw new WhochangedError('not_found', 'the page has not been built', {
            hint: 'npm run build makes it; the API is at /v1, and /docs tells of it',
          });
        return reply.sendFile('index.html', folder, { immutable: false, maxAge: 0 });
      });
    }
  });
}
