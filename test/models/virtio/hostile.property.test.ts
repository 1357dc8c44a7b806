import fc from 'fast-check';
import { expect, test } from 'vitest';
import { dmaWrite } from '../../../src/memory/index.ts';
import { spec } from '../../../src/models/virtio/index.ts';
import { MemoryHostIommu } from '../../../src/vfio/index.ts';
import { attach, Guest } from './guest.ts';

const TABLE = 0xe0_0000n;

const descriptors: fc.Arbitrary<spec.Descriptor> = fc.record({
  addr: fc.constantFrom(
    0n,
    TABLE,
    TABLE + 0x40n,
    0xff_fffcn,
    0x1_0000_0000n,
    0xf0_0000n,
    0xffff_ffff_ffff_fffcn,
  ),
  len: fc.constantFrom(0, 1, 4, 16, 24, 28, 36, 64, 72, 516, 0x1000, 0xffff_ffff),
  flags: fc.oneof(fc.constantFrom(0, 1, 2, 3, 4), fc.nat(0xffff)),
  next: fc.oneof(fc.nat(11), fc.nat(0xffff)),
});

/** What a driver may do to one queue. */
const mischief = fc.record({
  queue: fc.constantFrom(spec.REQUESTQ, spec.EVENTQ),
  table: fc.array(descriptors, { maxLength: 8 }),
  indirect: fc.array(descriptors, { maxLength: 8 }),
  heads: fc.array(fc.oneof({ weight: 9, arbitrary: fc.nat(7) }, { weight: 1, arbitrary: fc.nat(0xffff) }), {
    maxLength: 8,
  }),
  index: fc.option(fc.nat(0xffff), { freq: 8 }),
  request: fc.uint8Array({ minLength: 1, maxLength: 72 }),
  /** A type that exists makes the bytes behind it count. */
  type: fc.nat(6),
});

test('whatever a driver writes into its queues, nothing throws or hangs, and a reset leads back', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(mischief, { minLength: 1, maxLength: 6 }),
      fc.boolean(),
      async (acts, events) => {
        const guest = Guest.started(
          { bootBypass: false },
          spec.VIRTIO_F_VERSION_1 |
            spec.VIRTIO_F_INDIRECT_DESC |
            spec.VIRTIO_IOMMU_F_MAP_UNMAP |
            (events ? spec.VIRTIO_F_EVENT_IDX : 0n),
        );
        const host = new MemoryHostIommu({ strictness: 'vfio-user' });
        const container = await guest.plug(8, host);

        for (const { queue, table, indirect, heads, index, request, type } of acts) {
          const ring = queue === spec.REQUESTQ ? guest.requests : guest.events;
          for (const [i, descriptor] of table.entries()) ring.describe(i, descriptor);
          for (const [i, descriptor] of indirect.entries()) ring.describe(i, descriptor, TABLE);
          dmaWrite(guest.memory, 0n, new Uint8Array([type, ...request.subarray(1)]));
          for (const head of heads) ring.offer(head);
          if (index !== null) ring.setAvailable(index);
          guest.iommu.device.notify(queue);
          guest.iommu.accessBlocked(8, 1, 1, spec.FAULT_R_MAPPING);
        }

        guest.iommu.device.writeStatus(0);
        guest.restart();
        expect(guest.do(attach(1, 8))).toBe(spec.S_OK);
        expect(container.state.kind).toBe('attached');
        expect([...host.mappings()]).toEqual([]);
      },
    ),
    { numRuns: 400 },
  );
});
