/** A register dump is too short or describes no unit that can be modelled; the message says where and what would do. */
export class RegisterDumpError extends RangeError {
  readonly code = 'VIOMMU_REGISTER_DUMP';
  override readonly name = 'RegisterDumpError';
}
