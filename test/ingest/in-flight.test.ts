import { expect, it } from 'vitest';
import { InFlight } from '../../ingest/in-flight.js';

function inFlight(options: { maxWaitMs?: number; maxWaiters?: number } = {}) {
  const seen: number[] = [];
  const room = new InFlight({
    maxBytes: 100,
    maxWaitMs: 60_000,
    maxWaiters: 2,
    ...options,
    onChange: (bytes) => void seen.push(bytes),
  });
  return { room, most: () => Math.max(...seen), now: () => seen.at(-1) };
}

it('lets in what fits, and the rest in turn, so that a large body is not passed by small ones for ever', async () => {
  const { room, most, now } = inFlight();
  const came: string[] = [];
  await room.acquire(60);
  const large = room.acquire(90).then(() => came.push('large'));
  const small = room.acquire(10).then(() => came.push('small'));
  await Promise.resolve();
  expect(came).toEqual([]);
  room.release(60);
  await Promise.all([large, small]);
  expect(came).toEqual(['large', 'small']);
  expect(most()).toBe(100);
  room.release(90);
  room.release(10);
  expect(now()).toBe(0);
});

it('lets a body in alone that is larger than all the room there is', async () => {
  const { room } = inFlight();
  await room.acquire(500);
  expect(room.fits(1)).toBe(false);
});

it('says to come again where too many wait already, and to whoever has waited too long; their room is not lost', async () => {
  const { room, now } = inFlight({ maxWaitMs: 20 });
  await room.acquire(100);
  const waiting = [room.acquire(1), room.acquire(1)];
  const overloaded = { code: 'overloaded', retryAfter: expect.any(Number) };
  await expect(room.acquire(1)).rejects.toMatchObject(overloaded);
  for (const one of waiting) await expect(one).rejects.toMatchObject(overloaded);
  room.release(100);
  expect(now()).toBe(0);
  await room.acquire(100);
  expect(now()).toBe(100);
});
