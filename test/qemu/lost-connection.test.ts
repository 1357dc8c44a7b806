/**
 * What QEMU 11.1.3 does when a vfio-user server goes away, which no scenario of the table can say: these tests state what it
 * does, so that a QEMU that does better is noticed.
 *
 * @module
 */
import { expect, test } from 'vitest';
import { Access } from '../../src/memory/index.ts';
import { HIGH } from '../../src/qemu/index.ts';
import { describeQemu } from './harness/find-qemu.ts';
import { Sink } from './harness/sink.ts';
import { machineWithDomain } from './harness/world.ts';

/** A machine with a device half plugged: `end` is called at the tenth of 64 maps. */
async function halfPlugged(end: (sink: Sink) => void) {
  const { machine, domain } = await machineWithDomain();
  const sink = await Sink.serve();
  await machine.driver.map(domain, 0x1000, 64, HIGH, Access.ReadWrite, { leafPages: 1 });
  sink.onEvent = (events) => {
    if (events === 10) end(sink);
  };
  return { machine, plugged: machine.plug(sink.socket, { timeout: 2000 }) };
}

describeQemu('R20: the connection ends while a device is being plugged', () => {
  test('QEMU aborts when it ends without a word', async () => {
    const { machine, plugged } = await halfPlugged((sink) => sink.channel?.close(true));

    await expect(plugged).rejects.toThrow('QEMU is gone');
    await machine.qemu.exited;
    expect(machine.qemu.stderr).toContain("error_setv: Assertion `*errp == NULL' failed");
  });

  test('a server that is closed refuses what still comes, and QEMU refuses the plug and goes on', async () => {
    const { machine, plugged } = await halfPlugged((sink) => void sink.server.close());

    await expect(plugged).rejects.toThrow('failed');
    expect(await machine.qemu.qmp.execute('query-status')).toMatchObject({ running: true });
  });
});
