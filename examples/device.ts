import { realpathSync } from 'node:fs';
import { argv } from 'node:process';
import { linuxPlatform, listen } from 'viommu/linux';
import { type DeviceContext, type PciDevice, VfioUserServer } from 'viommu/vfio-user';

// Registers in BAR 0, each 8 bytes: what the driver writes, what it reads.
const ADDRESS = 0x00; // where in memory to begin
const COUNT = 0x08; // how many bytes to add up, 1 MiB at most; writing it starts
const STATE = 0x10; // 0 idle, 1 at work, 2 the memory could not be read
const SUM = 0x18; // the bytes' sum
const MOST = 2 ** 20;

/** A device that adds up bytes of guest memory, and interrupts when it has. */
export function adder(): PciDevice {
  const registers = new DataView(new ArrayBuffer(4096));
  let context: DeviceContext;

  const addUp = async (address: bigint, count: number): Promise<void> => {
    registers.setBigUint64(STATE, 1n, true);
    // The VMM serves DMA only after the write that started this was answered.
    await Promise.resolve();
    let state = 0n;
    let sum = 0n;
    try {
      const chunk = new Uint8Array(4096);
      for (let done = 0; done < count; done += chunk.length) {
        const bytes = chunk.subarray(0, Math.min(chunk.length, count - done));
        await context.memory.read(address + BigInt(done), bytes);
        for (const byte of bytes) sum += BigInt(byte);
      }
    } catch (error) {
      // A DmaError: nothing is mapped there, or the VMM is gone.
      console.error(String(error));
      state = 2n;
    }
    registers.setBigUint64(SUM, sum, true);
    registers.setBigUint64(STATE, state, true);
    context.interrupts.trigger(0);
  };

  return {
    name: 'adder',
    vendorId: 0x1af4,
    deviceId: 0x10f1,
    classCode: 0x0b4000, // a co-processor
    bars: [
      {
        size: 4096,
        kind: 'memory32',
        read: (offset, data) => {
          data.set(new Uint8Array(registers.buffer, offset, data.length));
        },
        write: (offset, data) => {
          if (data.length !== 8 || (offset !== ADDRESS && offset !== COUNT)) return;
          if (registers.getBigUint64(STATE, true) === 1n) return;
          new Uint8Array(registers.buffer, offset, data.length).set(data);
          if (offset !== COUNT) return;
          // Not awaited: a write is answered when its handler has returned.
          const count = Math.min(registers.getUint32(COUNT, true), MOST);
          void addUp(registers.getBigUint64(ADDRESS, true), count);
        },
      },
    ],
    msi: { vectors: 1 },

    start: (given) => {
      context = given;
    },
  };
}

/** Serves an adder at `path` until the process ends. */
async function main(path: string): Promise<void> {
  const { files, eventfds, timers } = linuxPlatform();
  const server = new VfioUserServer({ device: adder(), files, eventfds, timers });
  const listener = await listen(path, (channel) => server.accept(channel));
  console.log(`listening on ${path}`);
  process.once('SIGINT', () => {
    void listener.close().then(() => server.close());
  });
}

if (import.meta.filename === realpathSync(argv[1] ?? '')) await main(argv[2] ?? '/tmp/adder.sock');
