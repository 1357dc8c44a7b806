import { describe, expect, test } from 'vitest';
import { PendingRequests } from '../../src/vfio-user/pending-requests.ts';

function ignore(): void {}

describe('requests on their way', () => {
  test('are taken once, by identifier and command, with their tag', () => {
    const pending = new PendingRequests();
    const id = pending.nextId();
    pending.add(id, 2, ignore, 77);

    expect([pending.take(id, 3), pending.take(id + 1, 2), pending.take(65_535, 2)]).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
    expect([pending.size, pending.tagOf(id)]).toEqual([1, 77]);
    expect([pending.take(id, 2), pending.take(id, 2), pending.size]).toEqual([ignore, undefined, 0]);
  });

  test('have identifiers of their own, up to 32,768 of them, in 16 bits', () => {
    const pending = new PendingRequests();
    const ids = new Set<number>();

    for (let i = 0; i < 32_768; i++) {
      const id = pending.nextId();
      ids.add(id);
      pending.add(id, 2, ignore, i);
    }

    expect([ids.size, pending.size]).toEqual([32_768, 32_768]);
    expect(Math.max(...ids)).toBeLessThan(65_536);
    expect([...ids].every((id) => pending.take(id, 2) !== undefined)).toBe(true);
  });

  test('leave an identifier alone while another is on its way under it', () => {
    const pending = new PendingRequests();
    const stays = pending.nextId();
    pending.add(stays, 2, ignore, 0);

    const others = Array.from({ length: 1000 }, () => pending.nextId());

    expect(others).not.toContain(stays);
  });

  test('end without an answer oldest first, whatever their identifiers', () => {
    const pending = new PendingRequests();
    const lost: (readonly [unknown, number])[] = [];
    const ids: number[] = [];
    for (let i = 0; i < 600; i++) {
      const id = pending.nextId();
      ids.push(id);
      pending.add(id, 2, (reply, tag) => lost.push([reply, tag]), i);
      if (i % 3 === 1) pending.take(ids[i - 1]!, 2);
    }

    pending.clear();

    expect(lost).toEqual(
      Array.from({ length: 600 }, (_, i) => [undefined, i] as const).filter(([, i]) => i % 3 !== 0),
    );
    expect(pending.size).toBe(0);
    expect(pending.take(ids[1]!, 2)).toBeUndefined();
  });
});
