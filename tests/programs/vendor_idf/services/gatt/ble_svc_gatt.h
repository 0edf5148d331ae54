/* NimBLE, nimble/host/services/gatt/include/services/gatt/ble_svc_gatt.h. */
#pragma once
void ble_svc_gatt_init(void);
