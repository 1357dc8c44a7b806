import { amdviModel } from './amdvi/amdvi-model.ts';
import type { GuestModel } from './guest-model.ts';
import { virtioModel } from './virtio/virtio-model.ts';
import { vtdModel } from './vtd/vtd-model.ts';

/** Every kind of IOMMU that the commands know. */
export const MODELS: readonly GuestModel[] = [vtdModel, amdviModel, virtioModel];

/** The model that captures or `--model` call `name`. */
export function modelNamed(name: string): GuestModel | undefined {
  return MODELS.find(({ names }) => names.includes(name));
}

/** The usual names of models, for people. */
export function modelNames(models: readonly GuestModel[] = MODELS): string {
  return models.map(({ names }) => names[0]).join(', ');
}
