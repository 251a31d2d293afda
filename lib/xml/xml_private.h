/* What the reader and the tree share. */
#ifndef XML_XML_PRIVATE_H
#define XML_XML_PRIVATE_H

#include "xml.h"

#define XML_BOM "\xEF\xBB\xBF"

/* Judges the XML declaration at the start of s (behind a byte order mark), when there is one: version
 * 1.0, and UTF-8 or no encoding named. It must be whole in s. -1: ERR_ENCODING. */
int xml_check_declaration(struct slice s, struct err *e);
/* s starts with an XML declaration, whole or not. */
bool xml_is_declaration(struct slice s);

#endif
