import fc from 'fast-check';
import { expect, test } from 'vitest';
import { DmaMapPayload, dmaMapRequest } from '../../../src/vfio-user/wire/index.ts';

const page = fc.oneof(
  fc.integer({ min: 0, max: 2 ** 52 - 1 }),
  fc.integer({ min: 2 ** 20 - 2, max: 2 ** 20 + 2 }),
);

test('a payload filled in by pages has the bytes that the codec gives, each time', () => {
  const payload = new DmaMapPayload();
  fc.assert(
    fc.property(
      page,
      page,
      page,
      fc.nat({ max: 3 }),
      fc.boolean(),
      (iova, pages, offset, access, sameFile) => {
        const expected = dmaMapRequest.encode({
          read: (access & 1) !== 0,
          write: (access & 2) !== 0,
          sameFile,
          offset: BigInt(offset) * 4096n,
          address: BigInt(iova) * 4096n,
          size: BigInt(pages) * 4096n,
        });

        expect(payload.fill(iova, pages, offset, access, sameFile)).toEqual(expected);
      },
    ),
  );
});
