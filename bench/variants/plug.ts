/** A device plugged into a guest that has mappings already, and unplugged. @module */
import { MemoryHostIommu, VfioContainer } from '../../src/vfio/index.ts';
import { requesterSpace } from '../guest.ts';
import type { TableImage } from '../table-image.ts';
import type { Variant } from '../variant.ts';

/** A host that has room for every mapping of the image. */
function host(image: TableImage): MemoryHostIommu {
  return new MemoryHostIommu({ strictness: 'type1', maxMappings: image.leaves });
}

/** Every mapping replayed into a host in memory that is as strict as type1, up to its last confirmation. */
export function plug(image: TableImage): Variant {
  const space = requesterSpace(image);
  let plugged: VfioContainer[] = [];
  let held = 0;
  return {
    async prepare() {
      for (const container of plugged) await container.detach();
      plugged = [];
    },
    async run(times) {
      for (let i = 0; i < times; i++) {
        const memory = host(image);
        const container = new VfioContainer(space, memory, { name: 'device' });
        await container.attach();
        plugged.push(container);
        held = memory.size;
      }
      return times * image.leaves;
    },
    check: () => `${held} mappings held`,
  };
}

/** Every mapping taken out of the host again. */
export function unplug(image: TableImage): Variant {
  const space = requesterSpace(image);
  let plugged: { readonly container: VfioContainer; readonly memory: MemoryHostIommu }[] = [];
  let left = 0;
  return {
    async prepare(times) {
      plugged = [];
      for (let i = 0; i < times; i++) {
        const memory = host(image);
        const container = new VfioContainer(space, memory, { name: 'device' });
        await container.attach();
        plugged.push({ container, memory });
      }
    },
    async run(times) {
      for (const { container, memory } of plugged) {
        await container.detach();
        left += memory.size;
      }
      return times * image.leaves;
    },
    check: () => `${left} mappings left`,
  };
}
