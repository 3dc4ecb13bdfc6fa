/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Introspection XML out of the tables. Only names and signatures of ours go in, which need no escaping; names of nodes
 * are object path elements, which need none either (D-Bus specification, "Valid Object Paths").
 */
#include <config.h>

#include "dbus/object-internal.h"

#include <string.h>

static const char standard_interfaces[] = "  <interface name=\"org.freedesktop.DBus.Introspectable\">\n"
                                          "    <method name=\"Introspect\">\n"
                                          "      <arg name=\"xml_data\" type=\"s\" direction=\"out\"/>\n"
                                          "    </method>\n"
                                          "  </interface>\n"
                                          "  <interface name=\"org.freedesktop.DBus.Peer\">\n"
                                          "    <method name=\"Ping\"/>\n"
                                          "    <method name=\"GetMachineId\">\n"
                                          "      <arg name=\"machine_uuid\" type=\"s\" direction=\"out\"/>\n"
                                          "    </method>\n"
                                          "  </interface>\n";

static const char properties_interface[] = "  <interface name=\"org.freedesktop.DBus.Properties\">\n"
                                           "    <method name=\"Get\">\n"
                                           "      <arg name=\"interface_name\" type=\"s\" direction=\"in\"/>\n"
                                           "      <arg name=\"property_name\" type=\"s\" direction=\"in\"/>\n"
                                           "      <arg name=\"value\" type=\"v\" direction=\"out\"/>\n"
                                           "    </method>\n"
                                           "    <method name=\"GetAll\">\n"
                                           "      <arg name=\"interface_name\" type=\"s\" direction=\"in\"/>\n"
                                           "      <arg name=\"properties\" type=\"a{sv}\" direction=\"out\"/>\n"
                                           "    </method>\n"
                                           "    <method name=\"Set\">\n"
                                           "      <arg name=\"interface_name\" type=\"s\" direction=\"in\"/>\n"
                                           "      <arg name=\"property_name\" type=\"s\" direction=\"in\"/>\n"
                                           "      <arg name=\"value\" type=\"v\" direction=\"in\"/>\n"
                                           "    </method>\n"
                                           "    <signal name=\"PropertiesChanged\">\n"
                                           "      <arg name=\"interface_name\" type=\"s\"/>\n"
                                           "      <arg name=\"changed_properties\" type=\"a{sv}\"/>\n"
                                           "      <arg name=\"invalidated_properties\" type=\"as\"/>\n"
                                           "    </signal>\n"
                                           "  </interface>\n";

/* One <arg> for each complete type of signature; takes their names off *names. direction NULL: none is written. */
static void
append_arguments(GString *xml, const char *signature, const char **names, const char *direction)
{
    DBusSignatureIter iter;
    if (signature[0] == '\0')
        return;
    dbus_signature_iter_init(&iter, signature);
    do {
        char *type = dbus_signature_iter_get_signature(&iter);
        size_t len = strcspn(*names, " ");
        g_string_append_printf(xml, "      <arg name=\"%.*s\" type=\"%s\"", (int)len, *names, type);
        if (direction)
            g_string_append_printf(xml, " direction=\"%s\"", direction);
        g_string_append(xml, "/>\n");
        *names += len + strspn(*names + len, " ");
        dbus_free(type);
    } while (dbus_signature_iter_next(&iter));
}

static void
append_method(GString *xml, const struct object_method *method)
{
    const char *names = method->arguments ? method->arguments : "";
    if (method->in[0] == '\0' && method->out[0] == '\0') {
        g_string_append_printf(xml, "    <method name=\"%s\"/>\n", method->name);
        return;
    }
    g_string_append_printf(xml, "    <method name=\"%s\">\n", method->name);
    append_arguments(xml, method->in, &names, "in");
    append_arguments(xml, method->out, &names, "out");
    g_string_append(xml, "    </method>\n");
}

static void
append_property(GString *xml, const struct object_property *property)
{
    g_string_append_printf(
        xml,
        "    <property name=\"%s\" type=\"%s\" access=\"read\">\n"
        "      <annotation name=\"org.freedesktop.DBus.Property.EmitsChangedSignal\" value=\"%s\"/>\n"
        "    </property>\n",
        property->name, property->signature, property->constant ? "const" : "invalidates");
}

static void
append_signal(GString *xml, const struct object_signal *signal)
{
    const char *names = signal->arguments ? signal->arguments : "";
    g_string_append_printf(xml, "    <signal name=\"%s\">\n", signal->name);
    append_arguments(xml, signal->signature, &names, NULL);
    g_string_append(xml, "    </signal>\n");
}

static void
append_interface(GString *xml, const struct object_interface *interface)
{
    g_string_append_printf(xml, "  <interface name=\"%s\">\n", interface->name);
    for (const struct object_method *row = interface->methods; row && row->name; row++)
        append_method(xml, row);
    for (const struct object_property *row = interface->properties; row && row->name; row++)
        append_property(xml, row);
    for (const struct object_signal *row = interface->signals; row && row->name; row++)
        append_signal(xml, row);
    g_string_append(xml, "  </interface>\n");
}

char *
object_introspect_open(const struct object_interface *const *interfaces)
{
    GString *xml = g_string_new(DBUS_INTROSPECT_1_0_XML_DOCTYPE_DECL_NODE "<node>\n");
    for (; *interfaces; interfaces++)
        append_interface(xml, *interfaces);
    g_string_append(xml, properties_interface);
    g_string_append(xml, standard_interfaces);
    return g_string_free(xml, FALSE);
}

char *
object_introspect(const struct object_interface *const *interfaces)
{
    g_autofree char *open = object_introspect_open(interfaces);
    return g_strconcat(open, "</node>\n", NULL);
}

static void
append_nodes(GString *xml, char *const *names)
{
    for (; names && *names; names++)
        g_string_append_printf(xml, "  <node name=\"%s\"/>\n", *names);
}

/* Nodes that were registered below path, and those that only the user of a fallback path knows. */
static void
append_children(GString *xml, struct object *object, const char *path)
{
    char **registered = NULL;
    if (dbus_connection_list_registered(object->connection, path, &registered))
        append_nodes(xml, registered);
    dbus_free_string_array(registered);
    if (object->fallback && object->hooks && object->hooks->children) {
        g_auto(GStrv) known = object->hooks->children(path, object->user);
        append_nodes(xml, known);
    }
}

void
object_introspect_answer(struct object *object, DBusMessage *message, const char *path, bool is_own)
{
    bool bare = is_own && object->fallback; /* only a place for others to hang below */
    g_autofree char *own = bare ? NULL : object_introspect_open(object->interfaces);
    GString *xml = g_string_new(own ? own : DBUS_INTROSPECT_1_0_XML_DOCTYPE_DECL_NODE "<node>\n");
    if (bare)
        g_string_append(xml, standard_interfaces);
    if (is_own)
        append_children(xml, object, path);
    g_string_append(xml, "</node>\n");

    DBusMessage *reply = dbus_message_new_method_return(message);
    if (!reply || !dbus_message_append_args(reply, DBUS_TYPE_STRING, &xml->str, DBUS_TYPE_INVALID))
        g_error("out of memory: a D-Bus reply");
    g_string_free(xml, TRUE);
    object_send_reply(object->connection, message, reply);
}
