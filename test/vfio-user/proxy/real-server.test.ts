import { expect, test } from 'vitest';
import { Access, DenseRamBlock, PageCursor } from '../../../src/memory/index.ts';
import { type DeviceContext, Errno, VfioUserClient, VfioUserServer } from '../../../src/vfio-user/index.ts';
import { VfioUserProxy } from '../../../src/vfio-user/proxy/index.ts';
import { createChannelPair, FakeFiles, openFakeDescriptors } from '../memory-channel.ts';
import { PAGE, settle, Vmm } from './rig.ts';

/** This library's server, as strict as libvfio-user, behind a proxy. */
function build(options: { merge?: boolean } = {}): {
  proxy: VfioUserProxy;
  files: FakeFiles;
  server: VfioUserServer;
  device: DeviceContext;
  vmmEnd: ReturnType<typeof createChannelPair>[0];
} {
  const files = new FakeFiles();
  let device: DeviceContext | undefined;
  const server = new VfioUserServer({
    device: {
      name: 'device',
      vendorId: 0x1234,
      deviceId: 0x5678,
      classCode: 0x010802,
      start: (context) => {
        device = context;
      },
    },
    files,
    unmap: 'exact',
  });
  const [vmmEnd, upstream] = createChannelPair();
  const [downstream, serverEnd] = createChannelPair();
  const proxy = new VfioUserProxy({ upstream, downstream, files, ...options });
  server.accept(serverEnd);
  return { proxy, files, server, device: device!, vmmEnd };
}

test.each([{ merge: false }, { merge: true }])(
  'our client maps through it, and the device reaches the memory, by descriptor and by message %j',
  async (options) => {
    const { proxy, files, server, device, vmmEnd } = build(options);
    const ram = new DenseRamBlock(64);
    const block = new DenseRamBlock(64);
    const descriptor = files.share('ram', block);
    const shared = Object.assign(block, { share: { descriptor, offset: 0n } });
    const client = await VfioUserClient.connect({ open: () => Promise.resolve(vmmEnd) });
    for (let page = 0; page < 8; page++) {
      client.map({ iova: page, pages: 1, target: page, access: Access.ReadWrite }, { block: shared, page });
    }
    client.map({ iova: 100, pages: 2, target: 20, access: Access.ReadWrite }, { block: ram, page: 20 });
    await client.barrier();

    await device.memory.write(0x7ffen, Uint8Array.of(1, 2));
    await device.memory.write(0x6ffen, Uint8Array.of(3, 4, 5));
    await device.memory.write(0x64ffen, Uint8Array.of(6, 7, 8));

    const seen = new Uint8Array(3);
    await device.memory.read(0x6ffen, seen);
    expect([...seen]).toEqual([3, 4, 5]);
    const cursor = new PageCursor();
    ram.locate(21, cursor, false);
    expect(cursor.bytes()[0]).toBe(8);
    expect(server.memory.size).toBe(options.merge ? 2 : 9);
    const config = await client.readRegion(7, 0n, 4);
    expect([...config]).toEqual([0x34, 0x12, 0x78, 0x56]);

    client.unmap(3, 1);
    await client.barrier();
    expect(server.memory.size).toBe(options.merge ? 3 : 8);
    await expect(device.memory.read(0x3000n, seen)).rejects.toMatchObject({ code: 'VIOMMU_DMA' });
    await device.memory.read(0x6ffen, seen);
    expect([...seen]).toEqual([3, 4, 5]);
    await client.close();
    await proxy.closed;
    await server.close();
    descriptor.release();
    await settle();
    expect([openFakeDescriptors(), files.openFiles]).toEqual([0, 0]);
  },
);

test('a VMM with the manners of type1 never has an unmap refused', async () => {
  const { proxy, server, vmmEnd } = build();
  const vmm = new Vmm(vmmEnd, (command) => command.fail(Errno.ENODEV));
  await vmm.version();
  await Promise.all(Array.from({ length: 512 }, (_, i) => vmm.map({ iova: 0x1000 + 2 * i })));

  const errnos = await Promise.all([
    vmm.unmap(0x1000, 512),
    vmm.map({ iova: 0x1001, pages: 4 }),
    vmm.unmapBytes(0n, 0xfee0_0000n),
    vmm.unmapBytes(0xfef0_0000n, 0xffff_ffff_0110_0000n),
    vmm.map({ iova: 0, pages: 0x8_0000 }),
  ]);

  expect(errnos).toEqual([0, 0, 0, 0, 0]);
  expect([...server.memory.mappings()]).toEqual([
    { iova: 0n, size: 0x8_0000n * PAGE, offset: 0n, access: 3, shared: false },
  ]);
  expect([...server.memory.mappings()]).toEqual([...proxy.mappings()]);
  proxy.close();
  await server.close();
});
