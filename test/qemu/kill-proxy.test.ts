/** `viommu proxy`, or one of those that it stands between, is killed: the others are clean, and say what happened. @module */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ViommuCommand } from './harness/command.ts';
import { eventually } from './harness/eventually.ts';
import { describeQemu } from './harness/find-qemu.ts';
import { type Leftovers, leftovers, leftoversOf } from './harness/leftovers.ts';
import { expectAliveOrR20, machineWithPages, mapMore, PAGES, PATIENCE } from './harness/pages.ts';
import { Sink } from './harness/sink.ts';
import { socketFolder } from './harness/sockets.ts';

/** After how many maps to kill, of those that the guest makes then. */
const [MOMENT = 1] = fc.sample(fc.integer({ min: 1, max: PAGES - 1 }), 1);

describeQemu('the proxy is killed while the guest maps', () => {
  test('the server is rid of everything and serves the next', async () => {
    const sink = await Sink.serve({ unmap: 'exact' });
    const listen = join(socketFolder(), 'proxy');
    const start = (): Promise<ViommuCommand> =>
      ViommuCommand.start('proxy', '--listen', listen, '--connect', sink.socket, '--json');
    const proxy = await start();
    const { machine, domain } = await machineWithPages();
    await machine.plug(listen, PATIENCE);
    const plugged = sink.ledger.length;
    sink.onEvent = (events) => {
      if (events === PAGES + MOMENT) void proxy.kill();
    };

    await mapMore(machine, domain);

    await eventually(() => sink.goodbyes.length).toBe(1);
    expect(plugged).toBe(PAGES);
    expect(sink.ledger).toEqual([]);
    await expectAliveOrR20(machine);
    await machine.kill();
    expect(leftovers().guestRam).toBe(0);
    const next = await start();
    const { machine: second } = await machineWithPages();
    await second.plug(listen, PATIENCE);
    expect(sink.ledger).toEqual(await second.expected());
    await next.interrupt();
    expect(existsSync(listen)).toBe(false);
  });
});

describeQemu('under `viommu proxy`', () => {
  test('QEMU is killed: the proxy says so, has nothing left of it, and waits for the next VMM', async () => {
    const sink = await Sink.serve({ unmap: 'exact' });
    const listen = join(socketFolder(), 'proxy');
    const proxy = await ViommuCommand.start('proxy', '--listen', listen, '--connect', sink.socket, '--json');
    const live = async (lives: number): Promise<Leftovers> => {
      const { machine } = await machineWithPages();
      let events = 0;
      sink.onEvent = () => {
        if (++events === MOMENT) void machine.qemu.kill();
      };
      await machine.plug(listen, PATIENCE).catch(() => undefined);
      await machine.kill();
      await eventually(() => sink.goodbyes.length).toBe(lives);
      await eventually(() => proxy.said.split('disconnected: the VMM').length).toBe(lives + 1);
      await eventually(() => leftoversOf(proxy.pid).guestRam).toBe(0);
      return leftoversOf(proxy.pid);
    };
    const first = await live(1);

    const second = await live(2);

    expect(second).toEqual(first);
    expect(sink.ledger).toEqual([]);
    sink.onEvent = undefined;
    const { machine } = await machineWithPages();
    await machine.plug(listen, PATIENCE);
    expect(sink.ledger).toEqual(await machine.expected());
  });

  test('the server is killed: the proxy says so and lets go of QEMU', async () => {
    const folder = socketFolder();
    const [socket, listen] = [join(folder, 'device'), join(folder, 'proxy')];
    const serve = await ViommuCommand.start('serve', '--socket', socket, '--json', '--strict');
    const proxy = await ViommuCommand.start('proxy', '--listen', listen, '--connect', socket, '--json');
    const { machine, domain } = await machineWithPages();
    await machine.plug(listen, PATIENCE);
    serve.killAfter(MOMENT);

    await mapMore(machine, domain);

    await eventually(() => serve.running).toBe(false);
    await expectAliveOrR20(machine);
    await eventually(() => proxy.said).toMatch(/disconnected: the server/);
    expect(proxy.running).toBe(true);
    await proxy.interrupt();
    expect(existsSync(listen)).toBe(false);
  });
});
