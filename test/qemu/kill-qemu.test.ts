/** QEMU is killed at moments that nobody chose: our server and our proxy are as if it had never been there. @module */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { eventually } from './harness/eventually.ts';
import { describeQemu } from './harness/find-qemu.ts';
import { filesBeside, type Leftovers, leftovers } from './harness/leftovers.ts';
import { changeUntilGone, machineWithPages, PAGES, PATIENCE } from './harness/pages.ts';
import { ProxyInFront } from './harness/proxied.ts';

import { Sink } from './harness/sink.ts';

/** Three numbers of maps and unmaps after which to kill, the same in every run. */
const MOMENTS = fc.sample(fc.integer({ min: 1, max: PAGES - 1 }), 3);

/** Plugs the device at `socket`, goes on as `life` says, and is killed after `moment` maps and unmaps of the sink. */
async function lifeAndDeath(
  sink: Sink,
  socket: string,
  moment: number,
  life: 'plug' | 'live',
): Promise<void> {
  const { machine, domain } = await machineWithPages();
  const goodbyes = sink.goodbyes.length;
  let events = 0;
  sink.onEvent = () => {
    if (++events === moment + (life === 'live' ? PAGES : 0)) void machine.qemu.kill();
  };
  await machine.plug(socket, PATIENCE).catch(() => undefined);
  if (life === 'live') await changeUntilGone(machine, domain);
  await machine.qemu.exited;
  await machine.kill();
  await eventually(() => sink.goodbyes.length).toBe(goodbyes + 1);
}

/** One life first: what is loaded and opened once, and kept, is no leftover. */
async function before(sink: Sink, socket: string): Promise<Leftovers> {
  await lifeAndDeath(sink, socket, 100, 'plug');
  return leftovers();
}

describeQemu.each(['plug', 'live'] as const)('QEMU is killed (%s)', (life) => {
  test.each(MOMENTS)('after %i maps and unmaps: the server has lost nothing, and says so', async (moment) => {
    const sink = await Sink.serve();
    const atRest = await before(sink, sink.socket);

    await lifeAndDeath(sink, sink.socket, moment, life);

    await eventually(leftovers).toEqual(atRest);
    expect(atRest.guestRam).toBe(0);
    expect(sink.server.connected).toBe(false);
    expect(sink.ledger).toEqual([]);
    expect(sink.goodbyes.at(-1)).toMatch(/closed|reset|gone/);
    expect(filesBeside(sink.socket)).toEqual(['device']);
  });

  test.each(MOMENTS)(
    'after %i maps and unmaps, through the proxy: proxy and server likewise',
    async (moment) => {
      const sink = await Sink.serve({ unmap: 'exact' });
      const proxy = await ProxyInFront.of(sink);
      const atRest = await before(sink, proxy.socket);
      proxy.end = undefined;

      await lifeAndDeath(sink, proxy.socket, moment, life);

      await eventually(leftovers).toEqual(atRest);
      expect(sink.ledger).toEqual([]);
      expect(sink.counts.refused).toBe(0);
      expect(proxy.end).toMatchObject({ side: 'vmm' });
      expect(filesBeside(proxy.socket)).toEqual(['proxy']);
    },
  );

  test('the next QEMU finds a server as new', async () => {
    const sink = await Sink.serve();
    await lifeAndDeath(sink, sink.socket, 555, life);
    const { machine } = await machineWithPages();

    await machine.plug(sink.socket, PATIENCE);

    expect(sink.ledger).toHaveLength(PAGES);
    expect(sink.ledger).toEqual(await machine.expected());
  });
});
