import { VtdGuestDriver } from '../../guests/index.ts';
import { type Capability, spec, VtdIommu } from '../../models/vtd/index.ts';
import { QtestVtdRegisters, VTD_BASE } from '../../qemu/index.ts';
import type { ConformModel } from '../model.ts';
import type { MachineOptions } from '../scenario.ts';
import { VtdGuest } from './vtd-guest.ts';

/** VT-d in caching mode: second-stage tables in legacy or scalable mode, first-stage ones where a scenario asks for them. */
export const vtd: ConformModel = {
  inProcess(options, memory) {
    const iommu = new VtdIommu({ memory, capability: capabilityOf(options) });
    return {
      iommu,
      reset: () => iommu.reset(),
      newGuest: (allocator) => {
        const settled = (): void | Promise<void> => iommu.settled();
        const driver = new VtdGuestDriver({ memory, registers: iommu, allocator, settled });
        return new VtdGuest({
          driver,
          memory,
          mode: bootMode(options),
          read: (offset, bytes) => Promise.resolve(iommu.readRegister(offset, bytes)),
          write: (offset, value, bytes) => Promise.resolve(iommu.writeRegister(offset, value, bytes)),
        });
      },
    };
  },

  qemuArguments({ mode = 'legacy', awBits = 48 }, build) {
    if (!build.devices.has('intel-iommu')) return 'this QEMU has no intel-iommu';
    const scalable = mode === 'legacy' ? '' : ',scalable-mode=on';
    const firstStage = mode === 'first-stage' ? ',fsts=on' : '';
    return ['-device', `intel-iommu,caching-mode=on,aw-bits=${awBits}${scalable}${firstStage}`];
  },

  walkEvent: 'vtd_page_walk_level',

  inQemu(options, { memory, qtest }) {
    return {
      newGuest: async (allocator) => {
        const registers = await QtestVtdRegisters.of(qtest);
        const settled = (): Promise<void> => registers.settled();
        const driver = new VtdGuestDriver({ memory, registers, allocator, settled });
        return new VtdGuest({
          driver,
          memory,
          mode: bootMode(options),
          read: (offset, bytes) => qtest.read(VTD_BASE + BigInt(offset), bytes),
          write: (offset, value, bytes) => qtest.write(VTD_BASE + BigInt(offset), value, bytes),
        });
      },
    };
  },
};

function bootMode({ mode = 'legacy' }: MachineOptions): 'legacy' | 'scalable' {
  return mode === 'legacy' ? 'legacy' : 'scalable';
}

function capabilityOf({ mode = 'legacy', awBits = 48 }: MachineOptions): Capability {
  return {
    ...spec.BASE_CAPABILITY,
    SAGAW: awBits === 39 ? spec.SAGAW_39 : spec.SAGAW_39 | spec.SAGAW_48,
    MGAW: awBits,
    ...(mode === 'legacy' ? {} : { SMTS: true, SSTS: true, RPS: true }),
    ...(mode === 'first-stage' ? { FSTS: true, NEST: true } : {}),
  };
}
