/** `viommu serve` is killed while QEMU uses it: whoever is left is clean, and says what happened. @module */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { GuestDomain } from '../../src/guests/index.ts';
import { ViommuCommand } from './harness/command.ts';
import { eventually } from './harness/eventually.ts';
import { describeQemu } from './harness/find-qemu.ts';
import { type Leftovers, leftoversOf } from './harness/leftovers.ts';
import { expectAliveOrR20, machineWithPages, mapMore, PAGES, PATIENCE } from './harness/pages.ts';
import { type QemuMachine, SLOTS } from './harness/qemu-machine.ts';
import { socketFolder } from './harness/sockets.ts';

/** After how many maps to kill, of those that the guest makes then. */
const [MOMENT = 1] = fc.sample(fc.integer({ min: 1, max: PAGES - 1 }), 1);

/** Puts the device at `socket` into the other slot, where the guest sees the same domain. */
async function plugSecond(machine: QemuMachine, domain: GuestDomain, socket: string): Promise<void> {
  await machine.driver.attachDevice(SLOTS.conventional.requester, domain);
  await machine.plug(socket, { slot: 'conventional', id: 'second' });
}

describeQemu('the server is killed', () => {
  test('while the guest does nothing: QEMU goes on, says so, and takes another device', async () => {
    const socket = join(socketFolder(), 'device');
    const serve = await ViommuCommand.start('serve', '--socket', socket, '--json');
    const { machine, domain } = await machineWithPages();
    await machine.plug(socket, PATIENCE);
    await serve.kill();
    const left = existsSync(socket);

    await mapMore(machine, domain);

    expect(machine.qemu.stderr).toMatch(/vfio_container_dma_map\(.*Input\/output error/);
    const next = await ViommuCommand.start('serve', '--socket', socket, '--json');
    await plugSecond(machine, domain, socket);
    expect(left).toBe(true);
    expect(await next.ledger()).toEqual(await machine.expected());
    expect(await next.ledger()).toHaveLength(2 * PAGES);
    await next.interrupt();
    expect(next.said).toContain('ended');
    expect(existsSync(socket)).toBe(false);
  });

  test('while the guest maps: a new one takes the socket file that was left, and the next QEMU', async () => {
    const socket = join(socketFolder(), 'device');
    const serve = await ViommuCommand.start('serve', '--socket', socket, '--json');
    const { machine, domain } = await machineWithPages();
    await machine.plug(socket, PATIENCE);
    serve.killAfter(MOMENT);

    await mapMore(machine, domain);

    await eventually(() => serve.running).toBe(false);
    await expectAliveOrR20(machine);
    const next = await ViommuCommand.start('serve', '--socket', socket, '--json');
    const { machine: second } = await machineWithPages();
    await second.plug(socket, PATIENCE);
    expect(await next.ledger()).toHaveLength(PAGES);
    expect(await next.ledger()).toEqual(await second.expected());
  });
});

describeQemu('QEMU is killed while `viommu serve` is its device', () => {
  test('it says so, has nothing left of QEMU, and waits for the next', async () => {
    const socket = join(socketFolder(), 'device');
    const serve = await ViommuCommand.start('serve', '--socket', socket, '--json');
    const live = async (): Promise<Leftovers> => {
      const { machine } = await machineWithPages();
      const told = serve.said.split('disconnected').length;
      serve.onLines(MOMENT, () => void machine.qemu.kill());
      await machine.plug(socket, PATIENCE).catch(() => undefined);
      await machine.kill();
      await eventually(() => serve.said.split('disconnected').length).toBe(told + 1);
      await eventually(() => leftoversOf(serve.pid).guestRam).toBe(0);
      return leftoversOf(serve.pid);
    };
    const first = await live();

    const second = await live();

    expect(second).toEqual(first);
    expect(await serve.ledger()).toEqual([]);
    expect(serve.said).toMatch(/disconnected: .*(closed|reset|gone)/);
  });
});
