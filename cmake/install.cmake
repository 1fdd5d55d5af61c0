# SPDX-License-Identifier: MIT
#
# What `make install` lays out. Everything finds everything else by relative paths, so the tree may be
# moved, and DESTDIR trees work where they are.

include(CMakePackageConfigHelpers)

install(TARGETS redefine-shared redefine-static EXPORT redefine
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
if(TARGET redefine-command)
    install(TARGETS redefine-command RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
if(TARGET redefine-agent)
    install(TARGETS redefine-agent LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/redefine)
endif()
install(DIRECTORY include/redefine DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN *.h)

# pkg-config
set(pkgconfig_dir ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
file(RELATIVE_PATH prefix_from_pkgconfig /prefix/${pkgconfig_dir} /prefix)
string(REGEX REPLACE "/$" "" prefix_from_pkgconfig ${prefix_from_pkgconfig})
configure_file(cmake/redefine.pc.in redefine.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/redefine.pc DESTINATION ${pkgconfig_dir})

# find_package(redefine): redefine::redefine and redefine::redefine-static
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/redefine)
install(EXPORT redefine NAMESPACE redefine:: DESTINATION ${package_dir} FILE redefineConfig.cmake)
write_basic_package_version_file(redefineConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/redefineConfigVersion.cmake DESTINATION ${package_dir})

# Manual pages, by the section their name ends in
foreach(section 1 3)
    file(GLOB pages CONFIGURE_DEPENDS man/*.${section})
    install(FILES ${pages} DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section})
endforeach()

# Completion, where the shells look for it
install(FILES completion/redefine.bash DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions
        RENAME redefine)
install(FILES completion/_redefine DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
install(FILES completion/redefine.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)

install(DIRECTORY examples DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
