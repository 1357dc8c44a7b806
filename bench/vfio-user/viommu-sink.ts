/**
 * Our server with a device that does nothing, in a process of its own. Answers as server.c does.
 *
 *     node viommu-sink.js SOCKET
 *
 * @module
 */
import { createInterface } from 'node:readline';
import { linuxPlatform, listen } from '../../src/linux/index.ts';
import { formatAccess } from '../../src/memory/index.ts';
import { type PciDevice, VfioUserServer } from '../../src/vfio-user/index.ts';
import type { SinkStatistics } from './sink.ts';
import { nanoseconds } from './vmm.ts';

/** The empty function of server.c. QEMU 11.1.3 aborts when a device with MSI-X is taken out again. */
const DEVICE: PciDevice = { name: 'empty', vendorId: 0x1234, deviceId: 0x1000, classCode: 0xff_0000 };

const [socket = ''] = process.argv.slice(2);
const { mode, files, eventfds, timers, why } = linuxPlatform();
if (mode === 'messages' || files === undefined || eventfds === undefined) {
  throw new Error(`the server takes no descriptors: ${why}`);
}

let maps = 0;
let refused = 0;
let first = 0;
let last = 0;
let cpu = process.cpuUsage();

const server = new VfioUserServer({
  device: DEVICE,
  files,
  eventfds,
  timers,
  events: {
    mapped({ result }) {
      if (result === 'ok') maps++;
      else refused++;
      last = nanoseconds();
      if (first === 0) first = last;
    },
  },
});
const listener = await listen(socket, (channel) => server.accept(channel));
print({ listening: socket });
for await (const line of createInterface({ input: process.stdin })) {
  print(line === 'ledger' ? { ledger: ledger() } : statistics());
  if (line !== 'reset') continue;
  maps = refused = first = last = 0;
  cpu = process.cpuUsage();
}
await listener.close();
process.exit(0);

function statistics(): SinkStatistics {
  const { user, system } = process.cpuUsage(cpu);
  return {
    maps,
    refused,
    held: server.memory.size,
    connected: server.connected,
    firstToLastMapNs: Math.round(last - first),
    cpuNs: (user + system) * 1000,
  };
}

function ledger(): readonly unknown[] {
  return Array.from(server.memory.mappings(), ({ iova, size, offset, access }) => ({
    iova: `0x${iova.toString(16)}`,
    size: Number(size),
    offset: `0x${offset.toString(16)}`,
    perm: formatAccess(access),
  }));
}

function print(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}
